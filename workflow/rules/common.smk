from dreambirds.study.code import stage_code


wildcard_constraints:
    run="|".join(plan.config["runs"]),
    recipe="|".join(map(re.escape, plan.recipes)),
    label="|".join(plan.names),
    epoch=r"\d\d\d\d+",
    step=r"\d\d\d\d+",
    view="raw|rescaled",

from dreambirds.plan.checkpoints import submissions


rule dataset_only:
    input:
        f"{results}/dataset/labels.csv",
        targets.overview(plan),


rule training_only:
    input:
        targets.curves(plan),
        plan.checkpoints(),


rule submissions:
    input:
        submissions(plan),


rule dreams_only:
    input:
        targets.dreams(plan),


rule all:
    default_target: True
    input:
        targets.curves(plan),
        rules.dreams_only.input,
        targets.montages(plan),
        targets.films(plan),
        targets.overview(plan),
        targets.results(plan, PLOTS),
        f"{results}/recipes.csv",
        rules.resolved_config.output,
    message:
        done

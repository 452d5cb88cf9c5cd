from dreambirds.config.judges import judge_kind
from dreambirds.config.targets import vector_files
from dreambirds.plan import excitation, inputs


wildcard_constraints:
    judge="|".join(map(re.escape, plan.judges)) or "no judge",


networks_that_judge = [
    judge for judge in plan.judges if not inputs.answers(plan, judge)
]
people_who_judge = [judge for judge in plan.judges if inputs.answers(plan, judge)]
study_facts = inputs.study_facts(
    plan,
    plan.config["runs"],
    plan.recipes,
    {judge: inputs.judged_recipes(plan, judge) for judge in plan.judges},
)
several_seeds = inputs.recipes_with_siblings(plan)
judged = f"{results}/judged/{{judge}}"


# The photographs are evaluated once for each judge.
rule judge_reference:
    input:
        weights=input_function(inputs.weights, plan=plan),
        described=input_function(inputs.described, plan=plan),
        pictures=ancient(rules.dataset.output.pictures),
        table=rules.dataset.output.table,
        labels=rules.dataset.output.labels,
        checked=ancient(rules.check.output.measured),
    output:
        real=f"{judged}/reference.safetensors",
        held_out=f"{judged}/held_out.csv",
        sanity=f"{judged}/sanity.csv",
    log:
        f"results/logs/{plan.study}/judge/{{judge}}.log",
    wildcard_constraints:
        judge="|".join(map(re.escape, networks_that_judge)) or "no judge",
    conda:
        "../../environment.yml"
    threads: plan.config["threads"]["dream"]
    resources:
        gpu=plan.config["gpu"],
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        code=stage_code("judging"),
        kind=lambda wildcards: judge_kind(plan.judges[wildcards.judge]),
        judge=lambda wildcards: inputs.section(plan, wildcards.judge),
        labels=to_parameter([[label.label, label.name] for label in plan.labels]),
    message:
        "Evaluate photographs with judge {wildcards.judge}"
    script:
        "../scripts/judge_reference.py"


# One job evaluates the dreams of one archive.
rule judge:
    input:
        weights=input_function(inputs.weights, plan=plan),
        described=input_function(inputs.described, plan=plan),
        dreams=input_function(inputs.judged_archive, plan=plan),
        real=rules.judge_reference.output.real,
        held_out=rules.judge_reference.output.held_out,
    output:
        judged=f"{judged}/{{run}}/epoch-{{epoch}}/{{recipe}}{{part}}.csv",
        features=f"{judged}/{{run}}/epoch-{{epoch}}/{{recipe}}{{part}}.safetensors",
    log:
        f"results/logs/{plan.study}/judge/{{judge}}/{{run}}/epoch-{{epoch}}/{{recipe}}{{part}}.log",
    wildcard_constraints:
        judge="|".join(map(re.escape, networks_that_judge)) or "no judge",
        part=f"({'|'.join(plan.parts)})",
    conda:
        "../../environment.yml"
    threads: plan.config["threads"]["dream"]
    resources:
        gpu=plan.config["gpu"],
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        code=stage_code("judging"),
        libraries=lambda wildcards, output: libraries("judging"),
        judge=lambda wildcards: inputs.section(plan, wildcards.judge),
        labels=to_parameter([[label.label, label.name] for label in plan.labels]),
        compared=lambda wildcards: wildcards.recipe in several_seeds,
    message:
        "Judge recipe {wildcards.recipe} at epoch {wildcards.epoch} of run {wildcards.run} with judge {wildcards.judge}"
    script:
        "../scripts/judge.py"


# People are judges by their answers to a quiz, which `dreambirds quiz` writes.
rule judge_answers:
    input:
        answers=input_function(inputs.answers, plan=plan),
        dreams=input_function(inputs.judged_archive, plan=plan),
    output:
        judged=f"{judged}/{{run}}/epoch-{{epoch}}/{{recipe}}{{part}}.csv",
        features=f"{judged}/{{run}}/epoch-{{epoch}}/{{recipe}}{{part}}.safetensors",
    log:
        f"results/logs/{plan.study}/judge/{{judge}}/{{run}}/epoch-{{epoch}}/{{recipe}}{{part}}.log",
    wildcard_constraints:
        judge="|".join(map(re.escape, people_who_judge)) or "no judge",
        part=f"({'|'.join(plan.parts)})",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        code=stage_code("answers"),
        names=lambda wildcards: plan.judges[wildcards.judge]["names"],
        labels=to_parameter([[label.label, label.name] for label in plan.labels]),
    message:
        "Count the answers of {wildcards.judge} for recipe {wildcards.recipe} at epoch {wildcards.epoch} of run {wildcards.run}"
    script:
        "../scripts/judge_answers.py"


rule judge_answers_check:
    input:
        answers=input_function(inputs.answers, plan=plan),
        archives=plan.archives(),
        table=rules.dataset.output.table,
    output:
        sanity=f"{judged}/sanity.csv",
    log:
        f"results/logs/{plan.study}/judge/{{judge}}.log",
    wildcard_constraints:
        judge="|".join(map(re.escape, people_who_judge)) or "no judge",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=60,
    params:
        code=stage_code("answers"),
        names=lambda wildcards: plan.judges[wildcards.judge]["names"],
        labels=to_parameter([[label.label, label.name] for label in plan.labels]),
    message:
        "Compare the answers of {wildcards.judge} with the images of the study"
    script:
        "../scripts/judge_answers_check.py"


# The spectra and small copies of the photographs are computed once; one job compares the images of one archive with them.
rule spectra:
    input:
        images=ancient(rules.dataset.output.images),
        table=rules.dataset.output.table,
    output:
        spectra=f"{results}/dataset/spectra.safetensors",
        small=f"{results}/dataset/small.safetensors",
        held_out=f"{results}/dataset/held_out.csv",
    log:
        f"results/logs/{plan.study}/spectra.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        code=stage_code("pixels"),
    message:
        "Compute the spectrum and small copies of each class's training images"
    script:
        "../scripts/spectra.py"


rule pixels:
    input:
        dreams=input_function(inputs.dreamt_archive, plan=plan),
        spectra=rules.spectra.output.spectra,
        small=rules.spectra.output.small,
        held_out=rules.spectra.output.held_out,
    output:
        f"{results}/pixels/{{run}}/epoch-{{epoch}}/{{recipe}}{{part}}.csv",
    log:
        f"results/logs/{plan.study}/pixels/{{run}}/epoch-{{epoch}}/{{recipe}}{{part}}.log",
    wildcard_constraints:
        part=f"({'|'.join(plan.parts)})",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=1000,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        code=stage_code("pixels"),
    message:
        "Measure the images of recipe {wildcards.recipe} at epoch {wildcards.epoch} of run {wildcards.run}"
    script:
        "../scripts/pixels.py"


# The photographs that excite the units of a layer most, for one checkpoint.
rule excitation:
    input:
        weights=input_function(excitation.weights, plan=plan),
        pictures=ancient(rules.dataset.output.pictures),
        table=rules.dataset.output.table,
        labels=rules.dataset.output.labels,
        vectors=vector_files(plan.targets.values()),
        checked=ancient(rules.check.output.measured),
    output:
        f"{results}/excitation/{{run}}/epoch-{{epoch}}.csv",
    log:
        f"results/logs/{plan.study}/excitation/{{run}}/epoch-{{epoch}}.log",
    conda:
        "../../environment.yml"
    threads: plan.config["threads"]["dream"]
    resources:
        gpu=plan.config["gpu"],
        mem_mb=lambda wildcards, input, attempt: attempt
        * import_mb(plan, measured(input.checked), wildcards.run),
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        code=stage_code("excitation"),
        libraries=lambda wildcards, output: libraries("excitation"),
        targets_digest=digest_of(excitation.units(plan)),
        targets=lambda wildcards, output: to_parameter(excitation.units(plan)),
    message:
        "Find the photographs that excite targets most at epoch {wildcards.epoch} of run {wildcards.run}"
    script:
        "../scripts/excitation.py"


rule measurements:
    input:
        **inputs.measured(plan, plan.judges, plan.dream_jobs),
        **inputs.checkpoints(plan),
        archives=plan.archives(),
    output:
        dreams=f"{results}/dreams.csv",
        judgements=f"{results}/judgements.csv",
        runs=f"{results}/runs.csv",
        judges=f"{results}/judges.csv",
    log:
        f"results/logs/{plan.study}/measurements.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        code=stage_code("measurements"),
        study=to_parameter(study_facts),
    message:
        "Write the tables of results"
    script:
        "../scripts/measurements.py"

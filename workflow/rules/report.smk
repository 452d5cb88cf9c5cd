from dreambirds.plan import questions


report: "../report/workflow.rst"


wildcard_constraints:
    question="|".join(plan.questions) or "no question",


# One job answers a question. Its inputs are the dreams that the question looks at, so it does not wait for others.
rule question:
    input:
        unpack(input_function(questions.measured, plan=plan)),
        archives=input_function(questions.archives, plan=plan),
        histories=input_function(questions.histories, plan=plan),
        images=ancient(rules.dataset.output.images),
        table=rules.dataset.output.table,
    output:
        page=report(
            f"{results}/findings/{{question}}/index.html",
            caption="../report/finding.rst",
            category="findings",
            subcategory="questions",
            labels={"question": "{question}"},
        ),
        table=f"{results}/findings/{{question}}/finding.csv",
        montage=f"{results}/findings/{{question}}/montage.png",
        effects=f"{results}/findings/{{question}}/effects.png",
    log:
        f"results/logs/{plan.study}/findings/{{question}}.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        code=stage_code("question"),
        question=lambda wildcards: to_parameter(
            questions.asked(plan, wildcards.question)
        ),
        study=lambda wildcards: to_parameter(
            questions.study_facts(plan, wildcards.question)
        ),
        cell_size=plan.config["montage"]["cell_size"],
        view=plan.config["pictures"]["view"],
    message:
        "Answer the question {wildcards.question}: {output.page}"
    script:
        "../scripts/question.py"


rule findings:
    input:
        tables=input_function(questions.findings, plan=plan),
    output:
        page=f"{results}/findings/index.html",
        table=f"{results}/findings/findings.csv",
    log:
        f"results/logs/{plan.study}/findings.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        code=stage_code("findings"),
    message:
        "Write the findings: {output.page}"
    script:
        "../scripts/findings.py"

from dreambirds.runtime.code_version import LIBRARIES
from dreambirds.config.provenance import all_code


rule resolved_config:
    output:
        f"{results}/config.yaml",
    log:
        f"results/logs/{plan.study}/resolved_config.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        stages=all_code(),
        versions={
            name: number
            for stage in LIBRARIES
            for name, number in libraries(stage).items()
        },
        config=to_parameter(plan.resolved),
    message:
        "Write the config with all defaults: {output}"
    script:
        "../scripts/resolved_config.py"

# The photographs decide the classes, so before they are here every target asks for them only.
rule dataset_only:
    input:
        download.place,


use rule dataset_only as training_only


use rule dataset_only as dreams_only


use rule dataset_only as submissions


rule all:
    default_target: True
    input:
        download.place,
    message:
        done

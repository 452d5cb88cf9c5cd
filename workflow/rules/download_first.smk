# The photographs determine the classes, so until they are downloaded, every target requests only them.
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

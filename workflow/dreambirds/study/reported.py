"""Which single dreams Snakemake's report shows beside montages, films and plots."""

import re

from dreambirds.study.paths import VIEWS, step_name
from dreambirds.study.plan import Plan

MOST = 300


def patterns(plan: Plan) -> list[str]:
    """Return patterns, as Snakemake has them, of the gallery's pictures that the report shows.

    They are the dreams at each recipe's last step, in the view of the films. Where there are more than `MOST`, only the
    first classes are shown, as many as fit but one at least.
    """
    ending = VIEWS[plan.config["pictures"]["view"]]
    jobs = plan.dreams[["run", "epoch", "recipe"]].drop_duplicates()
    labels = "|".join(list(plan.names)[: max(1, MOST // len(jobs))])
    return [
        f"dreams/{{run,[^/]+}}/epoch-{{epoch,[^/]+}}/{{recipe,{re.escape(recipe)}}}/{{label,{labels}}}/"
        f"{{file,{step_name(parameters['steps'][-1])}{ending}[.]png}}"
        for recipe, parameters in plan.recipes.items()
    ]

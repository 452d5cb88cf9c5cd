"""Which single dreams Snakemake's report shows beside montages, films and plots."""

from dreambirds.study.paths import picture_path
from dreambirds.study.plan import Plan

MOST = 300


def pictures(plan: Plan) -> list[str]:
    """Return the pictures of all dreams at their recipe's last step, in the view of the films.

    Where there are more than `MOST`, only the first classes are shown, as many as fit but one at least, and of that one
    the first `MOST` pictures.
    """
    last = plan.dreams[plan.dreams["last"]]
    jobs = last[["run", "epoch", "recipe"]].drop_duplicates()
    shown = list(plan.names)[: max(1, MOST // len(jobs))]
    rows = last[last["label"].isin(shown)].head(MOST)
    return [picture_path(plan.study, dream, plan.config["pictures"]["view"]) for dream in rows.itertuples()]

"""Push a folder to the Hugging Face hub."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import HfApi, constants, get_session, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id

from dreambirds import __version__
from dreambirds.errors import UserError, first_line

TIMEOUT = 60  # seconds without a response, after which a request fails
REASONS = {
    401: "it does not accept the token; create one with write access at {endpoint}/settings/tokens",
    403: "the token may not write there; create one with write access at {endpoint}/settings/tokens",
    429: "it has received too many requests; wait some minutes",
}


def check_repository(name: str) -> None:
    """Raise UserError unless `name` is ``user/name`` and there is a token for the hub."""
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise UserError(f"'{name}' is not a name of a repository ({first_line(error)})", "--push") from error
    if name.count("/") != 1:
        raise UserError(f"'{name}' has no user; pass user/name", "--push")
    if not get_token():
        raise UserError("there is no token for the hub; run `hf auth login`, or set HF_TOKEN", "--push")


def push_folder(folder: Path, repository: str, private: bool) -> str:
    """Upload a folder to a repository ``user/name`` of the hub, and return the address of its page.

    The repository is created, if it does not exist, and then is `private` or public. The token is the one that
    huggingface_hub finds. Raises UserError if the hub cannot be reached, refuses the upload, or does not respond.
    """
    api = HfApi(endpoint=constants.ENDPOINT, library_name="dreambirds", library_version=__version__)
    try:
        with _timeout():
            page = api.create_repo(repository, private=private or None, exist_ok=True)
            message = "Upload a checkpoint with Dreaming of Birds"
            api.upload_folder(repo_id=repository, folder_path=folder, commit_message=message)
    except Exception as error:  # the hub's client, its transport and the server raise many types
        raise UserError(
            f"cannot push '{folder}' to '{repository}': {_reason(error, api.endpoint)}", "--push"
        ) from error
    return str(page)


@contextmanager
def _timeout() -> Iterator[None]:
    """Limit the time that the hub's client, which waits forever, waits for each response."""
    session = get_session()
    previous, session.timeout = session.timeout, TIMEOUT
    try:
        yield
    finally:
        session.timeout = previous


def _reason(error: Exception, endpoint: str) -> str:
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        what = REASONS.get(status, "{message}; try again later").format(endpoint=endpoint, message=first_line(error))
        return f"'{endpoint}' answered {status}, {what}"
    cause = error.__cause__ or error
    if "Timeout" in type(cause).__name__:
        return f"'{endpoint}' did not respond in {TIMEOUT} s; try again later"
    if "Connect" in type(cause).__name__:
        return f"no connection to '{endpoint}' ({first_line(cause)}); check the network, and run the same command again"
    return f"{first_line(error)}; try again later"

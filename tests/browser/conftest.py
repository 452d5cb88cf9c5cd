"""The browser of these tests is as new for each of them."""

import pytest

from tests.helpers.chromium import browser

__all__ = ["browser"]


@pytest.fixture(autouse=True)
def plain_browser(request):
    """Undo the theme and the size that a test has set."""
    yield
    if "browser" in request.fixturenames:
        driver = request.getfixturevalue("browser")
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

"""The browser of these tests, with its emulation settings reset after each test."""

import pytest

from tests.helpers.chromium import browser

__all__ = ["browser"]


@pytest.fixture(autouse=True)
def plain_browser(request):
    """Reset the theme and the window size after each test."""
    yield
    if "browser" in request.fixturenames:
        driver = request.getfixturevalue("browser")
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

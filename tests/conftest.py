import pytest

import fastloss as fl


@pytest.fixture(autouse=True)
def default_threads():
    """What one test sets is gone for the next."""
    yield
    fl.set_num_threads(None)

"""What the tests of the estimators print beside their results."""


def pytest_report_collectionfinish(items):
    """Print how many malformed calls the table of bad input holds."""
    calls = [item for item in items if "test_a_malformed_call" in item.name]
    return f"bad input: {len(calls)} malformed calls" if calls else []

"""Every key of the model is proven: two values of it are seen to make a difference outside of the settings.

Each module here holds `CASES`, keys with two values and what is seen under each, and a test that runs the real thing
once under all first values and once under all second ones. The values are unlike each other, so that what is seen can
only come from its own key. `test_every_key.py` fails for a key that is in no module.
"""

"""The example's order workflow as the SDK's own documentation has it: no registry, no base class, options at each call.

Its activities do no work and import nothing heavy. That favours it: an application's own would bring their database
library into each run of the default sandbox.
"""

"""The engine: the loop, what a batch does to the weights, and what a hook is."""

from hookline.engine.evaluate import evaluate
from hookline.engine.forward import Forward
from hookline.engine.hook import Hook, Priority
from hookline.engine.run_state import RunState
from hookline.engine.runner import Runner
from hookline.engine.sums import Sums, Window
from hookline.engine.update import Update

__all__ = ["Forward", "Hook", "Priority", "RunState", "Runner", "Sums", "Update", "Window", "evaluate"]

"""Reports on time: which slots are due, and delivering each of them once."""

from pipelines.schedule.delivery import Delivery, DeliveryError, due_slot, run_due
from pipelines.schedule.slots import slots_before

__all__ = ["Delivery", "DeliveryError", "due_slot", "run_due", "slots_before"]

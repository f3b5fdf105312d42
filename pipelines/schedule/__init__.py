"""Reports on time: which slots are due, and delivering each of them once."""

from pipelines.schedule.delivery import Delivery, DeliveryError, preview, run_due, send_now
from pipelines.schedule.editions import due_slots
from pipelines.schedule.slots import slots_after, slots_before

__all__ = ["Delivery", "DeliveryError", "due_slots", "preview", "run_due", "send_now", "slots_after", "slots_before"]

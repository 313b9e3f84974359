"""Filters, schedules, exploration, replay buffers and further tools of the algorithms."""

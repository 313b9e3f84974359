"""The foundation that Aktis libraries share: checkpoints, sessions, configurations, results, callbacks."""

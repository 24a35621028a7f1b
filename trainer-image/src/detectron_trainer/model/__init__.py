"""The model with all that trains it: optimizer, schedule, loss scaler, averaged weights."""

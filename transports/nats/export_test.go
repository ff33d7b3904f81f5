package nats

// LimitStore makes the transport's embedded server reserve no more than that, whatever its disk has free.
func LimitStore(t *Transport, bytes int64) { t.server.opts.JetStreamMaxStore = bytes }

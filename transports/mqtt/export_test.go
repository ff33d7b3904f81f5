package mqtt

// LimitSessions sets how many messages a session of the broker holds.
func LimitSessions(b *Broker, n uint16) { b.server.Options.Capabilities.MaximumInflight = n }

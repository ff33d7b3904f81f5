package transports

// Keys of the metadata that an MQTT message carries inside the process, on both the source and the sink.
const (
	// MetaTopic is the MQTT topic name. A publisher given an empty topic takes it from here.
	MetaTopic = "mqtt_topic"
	// MetaQoS is "0", "1" or "2".
	MetaQoS = "mqtt_qos"
	// MetaRetain is "1" when the retain flag is set, and absent otherwise.
	MetaRetain = "mqtt_retain"
	// MetaPacketID is the packet identifier of an incoming QoS 2 message, in decimal; absent otherwise. Whoever stores the
	// message durably stores this with it, in the same transaction, so that a redelivery after a crash is recognised.
	MetaPacketID = "mqtt_packet_id"
)

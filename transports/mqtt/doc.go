// Package mqtt joins Watermill to an MQTT broker: a [Session] is a Watermill publisher and subscriber on one MQTT 3.1.1
// connection, and [Broker] is a broker built into the process.
//
// The wire format, the handshake's packets and the WebSocket are those of paho.mqtt.golang. The flows of PUBLISH and its
// acknowledgements are this package's own, because paho's client cannot keep three promises: it forgets over a reconnect
// that a PUBREL is due, it drops acknowledgements that come late, and it reports a message as sent that no broker answered.
//
// # Promises
//
// Publish returns nil at QoS 1 and 2 only after the broker's PUBACK or PUBCOMP. Messages of one call are written in order
// and answered together, so a call with many messages costs one round trip.
//
// A message goes back to the broker as taken (PUBACK, PUBREC) only after the consumer's Ack, in the order of arrival. After
// Nack it is delivered again before any that was not handed out yet. A consumer that blocks for ever costs memory in the size of the
// broker's own in-flight window, and pings go on.
//
// At QoS 2, with a durable [Store], a message crosses exactly once in both directions, whatever is killed on this side of
// the connection. The write-ahead rule lives at the connection: before bytes that depend on the store are written to the
// socket, [Store].Sync is called once for all of them.
//
// The session reconnects without end, a failed first connect included.
package mqtt

// Package nats carries Weft's frames over NATS JetStream.
//
// A direct frame is published to weft.direct.PEER in the work-queue stream WEFT_DIRECT and leaves it when the peer has
// acknowledged it. A broadcast frame is published to weft.feed.NODE in WEFT_FEED, where every follower has a durable consumer of
// its own. Profiles live in the key-value bucket WEFT_PROFILES. What is missing is made; what exists is never altered.
//
// Every consumer allows one unacknowledged frame (MaxAckPending 1). With more, JetStream redelivers a frame after later ones have
// been delivered, and the order of an origin's frames would be lost.
package nats

// Package nats carries Weft's frames over NATS JetStream.
//
// A direct frame is published to weft.direct.PEER in the work-queue stream WEFT_DIRECT and leaves it when the peer has
// acknowledged it. A broadcast frame is published to weft.feed.NODE in WEFT_FEED, where every follower has a durable consumer of
// its own. Profiles live in the key-value bucket WEFT_PROFILES. What is missing is made; what exists is never altered.
//
// The order of an origin's frames is kept although JetStream delivers a frame that was not acknowledged after later ones. The
// consumer of a feed allows one unacknowledged frame. The consumer of the inbox allows up to 32 and is made anew with each
// session: in a work queue it begins with the first frame that was not acknowledged.
package nats

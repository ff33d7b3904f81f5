package nats

import (
	"fmt"
	"strings"

	"github.com/weft-relay/weft/transports"
)

// names are what the transport calls things on the server.
type names struct {
	node   string
	prefix string
	direct string // stream of direct frames
	feed   string // stream of broadcast frames
	bucket string // key-value bucket of profiles
}

func newNames(prefix, node string) names {
	upper := strings.ToUpper(prefix)
	return names{node: node, prefix: prefix, direct: upper + "_DIRECT", feed: upper + "_FEED", bucket: upper + "_PROFILES"}
}

func (n names) directSubject(peer string) string { return n.prefix + ".direct." + peer }
func (n names) feedSubject(node string) string   { return n.prefix + ".feed." + node }

// bucketStream is the stream that a key-value bucket is kept in, and bucketSubject that of its keys (NATS ADR-8).
func (n names) bucketStream() string  { return "KV_" + n.bucket }
func (n names) bucketSubject() string { return "$KV." + n.bucket + ".>" }

// destination returns the subject of a Publish topic, and the name that a user knows it by.
func (n names) destination(topic string) (subject, dest string, err error) {
	if topic == transports.Broadcast {
		return n.feedSubject(n.node), "feed", nil
	}
	peer, ok := transports.DirectPeer(topic)
	if !ok || !validName.MatchString(peer) {
		return "", "", transports.Permanent(fmt.Errorf("publish topic %q: neither %q nor a peer's name of 1 to 32 of a-z, 0-9, _ and -",
			topic, transports.Broadcast))
	}
	return n.directSubject(peer), peer, nil
}

// messageID returns the key by which the server drops a frame that it already holds. The window is that of the whole stream, so
// the key tells origins and destinations apart.
func (n names) messageID(dest, uuid string) string { return n.node + "/" + dest + "/" + uuid }

// uuid returns the frame's UUID from such a key.
func uuid(messageID string) string {
	if parts := strings.SplitN(messageID, "/", 3); len(parts) == 3 {
		return parts[2]
	}
	return messageID
}

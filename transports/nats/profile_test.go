package nats_test

import (
	"strings"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/nats"
)

// A server as it comes, and one in a node: do they take the largest profile that there may be, and not one byte more?
func TestLargestProfileIsAnnounced(t *testing.T) {
	t.Parallel()
	hub := startNode(t, nats.Config{Node: "hub", Embedded: nats.Embedded{Listen: "127.0.0.1:0", StoreDir: t.TempDir()}})
	for name, url := range map[string]string{"alone": startServer(t).ClientURL(), "embedded": hub.Address()} {
		alice := startNode(t, nats.Config{URL: url, Node: "alice"})
		profiles, err := alice.Watch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := alice.Announce(t.Context(), make([]byte, transports.MaxProfile)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if a := <-profiles; len(a.Profile) != transports.MaxProfile {
			t.Errorf("%s: %d bytes came back", name, len(a.Profile))
		}
		if err := alice.Announce(t.Context(), make([]byte, transports.MaxProfile+1)); !transports.IsPermanent(err) {
			t.Errorf("%s: one byte more: %v", name, err)
		}
	}
}

func TestSmallerLimitOfServerOrBucketIsNamedAndNotAltered(t *testing.T) {
	t.Parallel()
	bucket := startServer(t)
	js := bucket.client(t)
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "WEFT_PROFILES", MaxValueSize: 256 << 10}); err != nil {
		t.Fatal(err)
	}
	server := startServer(t, func(o *natsserver.Options) { o.MaxPayload = 256 << 10 })
	for _, tt := range []struct{ url, want string }{
		{bucket.ClientURL(), "profile of 300000 bytes: the bucket WEFT_PROFILES, made by somebody else, takes 262144; raise it (nats stream edit KV_WEFT_PROFILES --max-msg-size=1024000)"},
		{server.ClientURL(), "profile of 300000 bytes: the server takes 262144; raise its max_payload"},
	} {
		alice := startNode(t, nats.Config{URL: tt.url, Node: "alice"})
		err := alice.Announce(t.Context(), make([]byte, 300_000))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v; want %q", err, tt.want)
		}
		if err := alice.Announce(t.Context(), make([]byte, 200_000)); err != nil {
			t.Errorf("one that fits: %v", err)
		}
	}
	stream, err := js.Stream(t.Context(), "KV_WEFT_PROFILES")
	if err != nil {
		t.Fatal(err)
	}
	if limit := stream.CachedInfo().Config.MaxMsgSize; limit != 256<<10 {
		t.Errorf("the bucket's limit is %d now", limit)
	}
}

package e2e_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What the operator of the NATS server must not find, on the wire or on its disk.
const (
	secretFilter  = "vault-31415/+"
	secretTopic   = "vault-31415/door-27182"
	secretPayload = "combination-16180"
)

// overheard joins the sites through proxies that listen, sends a secret from alice to bob, and returns all that the NATS
// server has seen and stored.
func overheard(t *testing.T, mode string) []byte {
	t.Helper()
	m, alice, bob := pair(t)
	var wires []*proxy
	for _, s := range m.sites {
		p := newProxy(t, m.nats.addr)
		p.keep()
		wires = append(wires, p)
		s.node.config["transports"] = object{"hub": object{"type": "nats", "url": "nats://" + p.addr}}
	}
	alice.node.config["routes"] = list{object{"name": "all", "match": list{"#"}, "to": "hub", "mode": mode}}
	bob.node.config["subscribe"] = list{secretFilter}
	m.start()
	sub := bob.broker.sub("-t", "#", "-q", "1", "-F", "%t %p")
	m.awaitFollower("bob")
	bob.node.kill() // so that the frame stays in the stream
	alice.broker.pub("-t", secretTopic, "-q", "1", "-m", secretPayload)
	alice.node.awaitEmpty(10 * time.Second)
	bob.node.start()
	awaitLines(t, sub, secretTopic+" "+secretPayload)
	m.nats.stop()
	seen := stored(t, m.nats.store)
	for _, p := range wires {
		seen = append(seen, p.kept()...)
	}
	return seen
}

// stored returns the content of every file below a folder.
func stored(t *testing.T, dir string) []byte {
	t.Helper()
	var all []byte
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		all = append(all, content...)
		return err
	}))
	return all
}

func TestOperatorOfTheNetworkSeesNeitherTopicsNorPayloadsNorFilters(t *testing.T) {
	seen := overheard(t, "direct")
	for _, secret := range []string{secretTopic, secretPayload, secretFilter, "vault", "27182", "combination"} {
		require.False(t, bytes.Contains(seen, []byte(secret)), "%q can be read in the network", secret)
	}
	require.True(t, bytes.Contains(seen, []byte("weft.direct.bob")), "what goes through the network was looked at")
}

// A broadcast is for everybody, as the counterpart of the test above shows; who wants it is nobody's business still.
func TestBroadcastIsReadable(t *testing.T) {
	seen := overheard(t, "broadcast")
	require.True(t, bytes.Contains(seen, []byte(secretTopic)))
	require.True(t, bytes.Contains(seen, []byte(secretPayload)))
	require.False(t, bytes.Contains(seen, []byte(secretFilter)))
}

package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline"
)

// weft runs a command with the node's file, and returns its status and all that it has printed.
func (n *node) weft(args ...string) (int, string) {
	n.t.Helper()
	cmd := exec.Command(weftBin, append(args, "-c", n.file)...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		require.NoError(n.t, err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// Two nodes of a mesh, with their built-in brokers, that list each other and a third that does not run. Is it said how each is
// reached and where, does a ping measure, and is it said why when there is no answer?
func TestNodeTellsHowItReachesItsPeersInAMesh(t *testing.T) {
	nodes := []*node{newNode(t, "alice"), newNode(t, "bob"), newNode(t, "carol")}
	var entries list
	for _, n := range nodes {
		entries = append(entries, peerEntry(t, n))
	}
	var bootstrap list
	for i, n := range nodes[:2] {
		n.config["broker"] = object{"embedded": object{"listen": freeAddr(t)}}
		n.config["subscribe"] = list{"#"}
		n.config["peers"] = append(append(list{}, entries[:i]...), entries[i+1:]...)
		n.config["transports"] = object{"mesh": object{"type": "kademlia", "listen": list{"/ip4/127.0.0.1/tcp/0"}, "mdns": false, "bootstrap": bootstrap}}
		n.config["routes"] = list{object{"name": "alarms", "match": list{"alarms/#"}, "to": "mesh", "mode": "broadcast"}}
		n.start()
		n.await(20*time.Second, func(s pipeline.Status) error {
			m := s.Transports["mesh"].Mesh
			if m == nil || len(m.Addresses) == 0 {
				return fmt.Errorf("no address: %+v", m)
			}
			bootstrap = list{m.Addresses[0]}
			return nil
		})
	}
	alice, bob := nodes[0], nodes[1]
	alice.awaitReady()
	alice.awaitWishes("bob", "#")

	code, out := alice.weft("peers", "ping", "bob", "-n", "3")
	require.Zero(t, code, out)
	require.Regexp(t, `^(bob over mesh: [0-9.]+[mµ]s\n){3}least \S+, average \S+, most \S+\n$`, out)
	code, out = alice.weft("status")
	require.Zero(t, code, out)
	require.Regexp(t, `reached at +/ip4/127.0.0.1/tcp/\d+/p2p/12D3\w+\n +public +unknown`, out)
	require.Regexp(t, `to bob +direct TCP since .*, [0-9.]+[mµ]s\n`, out)
	require.Regexp(t, `to carol +unreachable since `, out)
	code, out = alice.weft("peers")
	require.Zero(t, code, out)
	require.Regexp(t, `\nbob +direct TCP +[-0-9]+ [:0-9]+ +[0-9.]+[mµ]s +1 +\d+ +0 of 0 +0 +0 +/ip4/127.0.0.1/tcp/\d+\n`, out)
	require.Regexp(t, `\ncarol +unreachable .* 0 +- `, out)
	code, out = alice.weft("peers", "--json")
	require.Zero(t, code, out)
	require.True(t, json.Valid([]byte(out)))

	for want, args := range map[string][]string{
		"weft: transport mesh: carol is not connected since .*\n":                {"carol"},
		"weft: no such peer as \"dave\"; `weft peers` shows those of the node\n": {"dave"},
		"weft: no mesh named \"hub\"; there is: mesh\n":                          {"bob", "--transport", "hub"},
	} {
		code, out := alice.weft(append([]string{"peers", "ping"}, args...)...)
		require.Equal(t, 1, code)
		require.Regexp(t, "^"+want+"$", out)
	}

	_, page, err := alice.get("/metrics")
	require.NoError(t, err)
	require.Contains(t, page, "\n# TYPE weft_transport_mesh_nodes gauge\nweft_transport_mesh_nodes{transport=\"mesh\"} 1\n")
	require.Contains(t, page, "\n# TYPE weft_transport_mesh_sent_bytes_total counter\n")
	require.Contains(t, page, "\nweft_transport_mesh_feed_missed_total{peer=\"bob\",transport=\"mesh\"} 0\n")

	// Broadcasts move the place in the feed of whom they are from.
	r := newRecord(t, brokerOf(bob), "alarms/#", 1)
	l := newLoad(t, brokerOf(alice), "alarms", 1)
	require.NoError(t, l.publish(t.Context(), 10))
	r.awaitAll(t, l, 20*time.Second)
	bob.await(20*time.Second, func(s pipeline.Status) error {
		for _, p := range s.Transports["mesh"].Mesh.Peers {
			if p.Peer == "alice" && (p.Feed == nil || p.Feed.Taken != p.Feed.Next || p.Feed.Next < 2) {
				return fmt.Errorf("feed of alice: %+v", p.Feed)
			}
		}
		return nil
	})
	_, out = bob.weft("peers")
	place := regexp.MustCompile(`\nalice .* (\d+) of (\d+) +0 +0 +/ip4/`).FindStringSubmatch(out)
	require.NotNil(t, place, out)
	require.Equal(t, place[1], place[2])
	eventually(t, 20*time.Second, func() error { // the network sums up bytes once a second
		_, page, err := bob.get("/metrics")
		if err == nil && !regexp.MustCompile(`\nweft_transport_mesh_received_bytes_total\{protocol="/weft/\S+",transport="mesh"\} [1-9]`).MatchString(page) {
			err = errors.New("no bytes of our own protocols are counted")
		}
		return err
	})
}

// brokerOf returns the address of the node's built-in broker.
func brokerOf(n *node) string {
	return n.config["broker"].(object)["embedded"].(object)["listen"].(string)
}

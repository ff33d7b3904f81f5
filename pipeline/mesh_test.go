package pipeline

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/weft-relay/weft/transports"
)

// fakeMesh is a mesh on which bob is called mqtt_bob, and answers unless there is an error.
type fakeMesh struct {
	endingNetwork
	err error
}

func (m *fakeMesh) Report() transports.Report {
	return transports.Report{Mesh: &transports.Mesh{Peers: []transports.Reach{{Peer: "mqtt_bob"}, {Peer: "carol"}}}}
}

func (m *fakeMesh) Ping(_ context.Context, peer string) (time.Duration, error) {
	if peer != "mqtt_bob" {
		return 0, errors.New("asked of " + peer)
	}
	return time.Millisecond, m.err
}

func meshNode(ts Transports) *Node {
	at := map[string]string{"air": "mqtt_bob", "sea": "mqtt_bob"}
	return &Node{cfg: Config{Peers: []Peer{{Name: "bob", At: at}, {Name: "carol"}}}, transports: ts}
}

func TestMeshCallsPeersAsTheFileDoes(t *testing.T) {
	n := meshNode(Transports{"air": &fakeMesh{}, "hub": &endingNetwork{}})
	if m := n.report("air").Mesh; len(m.Peers) != 2 || m.Peers[0].Peer != "bob" || m.Peers[1].Peer != "carol" {
		t.Errorf("%+v", m)
	}
	if m := n.report("hub").Mesh; m != nil {
		t.Errorf("%+v of what is no mesh", m)
	}
}

// Is a peer asked over each mesh until one brings an answer, or over the one that is named, and is it said what was wrong else?
func TestPingTriesEveryMesh(t *testing.T) {
	cut := &fakeMesh{err: errors.New("cut")}
	for _, tt := range []struct {
		name            string
		ts              Transports
		peer, transport string
		over            string
		err             error
		text            string
	}{
		{"the first", Transports{"air": &fakeMesh{}, "sea": &fakeMesh{}}, "bob", "", "air", nil, ""},
		{"the first that answers", Transports{"air": cut, "hub": &endingNetwork{}, "sea": &fakeMesh{}}, "bob", "", "sea", nil, ""},
		{"the one that is named", Transports{"air": &fakeMesh{}, "sea": &fakeMesh{}}, "bob", "sea", "sea", nil, ""},
		{"none answers", Transports{"air": cut, "sea": cut}, "bob", "", "", nil, "transport air: cut\ntransport sea: cut"},
		{"no mesh of that name", Transports{"air": &fakeMesh{}, "hub": &endingNetwork{}}, "bob", "hub", "", ErrNoMesh, `no mesh named "hub"; there is: air`},
		{"no mesh", Transports{"hub": &endingNetwork{}}, "bob", "", "", ErrNoMesh, "no transport whose nodes are connected"},
		{"no peer", Transports{"air": &fakeMesh{}}, "dave", "", "", ErrNoPeer, `no such peer as "dave"`},
	} {
		echo, err := meshNode(tt.ts).Ping(t.Context(), tt.peer, tt.transport)
		if tt.over != "" && (err != nil || echo != Echo{"bob", tt.over, time.Millisecond}) {
			t.Errorf("%s: %+v, %v", tt.name, echo, err)
		}
		if tt.over == "" && (err == nil || !strings.Contains(err.Error(), tt.text) || tt.err != nil && !errors.Is(err, tt.err)) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

package twistertest

import (
	"maps"
	"slices"
	"time"
)

// defaultDHTWait is how long dhtget waits unless told.
const defaultDHTWait = 10 * time.Second

func (d *Daemon) torrentStatus(p params) (any, error) {
	t, ok := d.torrents[p.str(0)]
	if !ok || !d.session {
		return nil, nil
	}
	peers := []any{}
	for _, other := range d.net.sessions(d) {
		if d.joined(other, p.str(0)) {
			peers = append(peers, map[string]any{
				"addr": other.addr, "flags": "0x3a", "connection_type": 3, "download_queue_length": 0, "failcount": 0,
				"bitfield": other.torrents[p.str(0)].bitfield(),
			})
		}
	}
	return map[string]any{
		"state": 3, "paused": false, "auto_managed": false, "num_peers": len(peers), "list_peers": len(peers),
		"connect_candidates": 0, "num_connections": len(peers), "num_complete": -1, "num_pieces": len(t.pieces),
		"bitfield": t.bitfield(), "has_incoming": len(peers) > 0, "priority": 0, "queue_position": 0, "peers": peers,
	}, nil
}

// getPieceAvailability counts the others that have a piece.
func (d *Daemon) getPieceAvailability(p params) (any, error) {
	count := 0
	for _, other := range d.net.sessions(d) {
		if d.joined(other, p.str(0)) && other.torrents[p.str(0)].pieces[p.int(1)] != nil {
			count++
		}
	}
	return count, nil
}

// dhtPutCall says nothing of what other nodes refuse, nor of a put without a session.
func (d *Daemon) dhtPutCall(p params) (any, error) {
	key, signer := dhtKey{p.str(0), p.str(1), p.str(2)}, p.str(4)
	if _, ok := d.wallet.users[signer]; !ok {
		return nil, refuse(-11, "Error: no sig_user in wallet")
	}
	if key.kind == "s" && len(p.list) < 6 {
		return nil, refuse(-4, "Seq parameter required for single")
	}
	if key.kind == "s" && signer != key.name {
		return nil, refuse(-4, "Username must be the same as sig_user for single")
	}
	d.dhtPut(key, bencodable(p.list[3]), signer, int64(p.intOr(5, 0)))
	return nil, nil
}

// dhtGetCall takes as long as the real one: a while for a value, long where the nodes that it knew are dead.
func (d *Daemon) dhtGetCall(p params) (any, error) {
	result := d.dhtGet(dhtKey{p.str(0), p.str(1), p.str(2)})
	limit := defaultDHTWait
	if ms := p.intOr(3, 0); ms > 0 {
		limit = time.Duration(ms) * time.Millisecond
	}
	switch speed := d.net.opts.Speed; {
	case len(result) > 0:
		*p.wait = min(limit, speed.DHTGet)
	case d.session && len(d.net.sessions(d)) == 0 && len(d.net.daemons) > 1:
		*p.wait = min(limit, speed.DHTDead)
	}
	return result, nil
}

// createGroup takes a private key only from another creategroup, which nothing here gives out: any is a bad one.
func (d *Daemon) createGroup(p params) (any, error) {
	if len(p.list) == 2 {
		return "", nil
	}
	return d.newGroup(secret(32, "group", d.net.rng.Uint64()), p.str(0)).alias, nil
}

func (d *Daemon) knownGroup(alias string) (*group, error) {
	if g, ok := d.groups[alias]; ok {
		return g, nil
	}
	return nil, refuse(-32603, "unknown group alias")
}

func (d *Daemon) newGroupInvite(p params) (any, error) {
	g, err := d.knownGroup(p.str(2))
	if err != nil {
		return nil, err
	}
	names, err := p.strs(3)
	if err != nil {
		return nil, err
	}
	return nil, d.invite(p.str(0), p.int(1), g, names)
}

func (d *Daemon) getGroupInfo(p params) (any, error) {
	g, err := d.knownGroup(p.str(0))
	if err != nil {
		return nil, err
	}
	return fields{{"alias", g.alias}, {"description", g.description}, {"members", stringList(g.members)}}, nil
}

func (d *Daemon) listGroups(p params) (any, error) {
	if len(p.list) > 0 && d.data[p.str(0)] == nil {
		return nil, refuse(-32603, "unknown user")
	}
	found := []string{}
	for _, alias := range slices.Sorted(maps.Keys(d.groups)) {
		g := d.groups[alias]
		switch {
		case len(p.list) == 0,
			p.bool(1) && g.left[p.str(0)],
			!p.bool(1) && slices.Contains(g.members, p.str(0)):
			found = append(found, alias)
		}
	}
	return stringList(found), nil
}

// leaveGroup deletes the user's history and tells nobody.
func (d *Daemon) leaveGroup(p params) (any, error) {
	g, err := d.knownGroup(p.str(1))
	if err != nil {
		return nil, err
	}
	g.remove(p.str(0))
	g.left[p.str(0)] = true
	delete(d.user(p.str(0)).messages, g.alias)
	return nil, nil
}

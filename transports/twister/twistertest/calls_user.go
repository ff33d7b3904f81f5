package twistertest

import (
	"maps"
	"slices"
)

func (d *Daemon) getInfo(params) (any, error) {
	info := map[string]any{
		"version": 94000, "protocolversion": 70003, "walletversion": 60000, "blocks": d.height, "timeoffset": 0,
		"connections": len(d.net.peers(d)), "addrman_total": 0, "addrman_get": 0, "dht_nodes": len(d.net.sessions(d)),
		"dht_global_nodes": 0, "proxy": "", "ext_port1": 29401, "ext_port2": 30401, "difficulty": 0.0, "testnet": false,
		"public_server_mode": d.public, "errors": "This is a pre-release test build - use at your own risk", "ext_addr_net1": "",
	}
	if d.wallet.passphrase != "" {
		info["unlocked_until"] = d.wallet.until
		if d.isLocked() {
			info["unlocked_until"] = 0
		}
	}
	if d.session {
		info["dht_global_nodes"] = len(d.net.sessions(d)) + 1
		info["ext_addr_net2"] = "127.0.0.1"
		info["dht_torrents"] = len(d.torrents)
		info["num_peers"] = len(d.net.sessions(d))
		info["peerlist_size"] = len(d.net.sessions(d))
		for _, name := range []string{
			"num_active_requests", "download_rate", "upload_rate", "dht_download_rate", "dht_upload_rate",
			"ip_overhead_download_rate", "ip_overhead_upload_rate", "payload_download_rate", "payload_upload_rate", "total_download",
			"total_upload", "total_dht_download", "total_dht_upload", "total_ip_overhead_download", "total_ip_overhead_upload",
			"total_payload_download", "total_payload_upload",
		} {
			info[name] = 0
		}
	}
	return info, nil
}

func (d *Daemon) getBlockCount(params) (any, error) { return d.height, nil }

func (d *Daemon) getBestBlockHash(params) (any, error) { return secret(32, "block", d.height), nil }

// stopCall answers before it stops.
func (d *Daemon) stopCall(params) (any, error) {
	d.stopping = true
	return "Twister server stopping", nil
}

func (d *Daemon) userToID(p params) (any, error) {
	u, ok := d.lookup(p.str(0))
	if !ok || len(p.list) == 2 && !p.bool(1) { // last=false was never written
		return nil, refuse(-32603, "UsernameToTxNum failed")
	}
	return u.id, nil
}

// idToUser never answers for a user in the newest block.
func (d *Daemon) idToUser(p params) (any, error) {
	id := p.int(0)
	if id == 0 {
		return "nobody", nil
	}
	for name, u := range d.net.chain.users {
		if u.id == id && u.height <= d.height {
			*p.hang = u.height == d.height
			return name, nil
		}
	}
	return nil, refuse(-32603, "TxNumToUsername failed")
}

func (d *Daemon) listWalletUsers(params) (any, error) {
	if d.public {
		return []any{}, nil
	}
	return stringList(d.wallet.order), nil
}

// createWalletUser takes any name, also one that nobody can register.
func (d *Daemon) createWalletUser(p params) (any, error) {
	name := p.str(0)
	if _, ok := d.wallet.users[name]; ok {
		return nil, refuse(-11, "Error: this username exists in wallet")
	}
	if _, ok := d.lookup(name); ok {
		return nil, refuse(-11, "Error: this username exists in tx database")
	}
	key := secret(32, name, d.net.rng.Uint64())
	d.wallet.users[name] = key
	d.wallet.order = append(d.wallet.order, name)
	return "<secret key, WIF>", nil
}

func (d *Daemon) sendNewUser(p params) (any, error) {
	name := p.str(0)
	key, ok := d.wallet.users[name]
	if !ok {
		return nil, refuse(-11, "Error: username must exist in wallet")
	}
	if _, ok := d.lookup(name); ok {
		return nil, refuse(-11, "Error: this username exists in tx database")
	}
	if _, ok := d.net.chain.users[name]; ok || !validName.MatchString(name) || d.net.chain.waits(name) {
		return nil, refuse(-22, "TX rejected")
	}
	d.net.chain.wait = append(d.net.chain.wait, pending{name, key})
	return secret(32, "transaction", name), nil
}

func (d *Daemon) unlockCall(p params) (any, error) {
	if p.str(0) != d.wallet.passphrase {
		return nil, refuse(-14, "Error: The wallet passphrase entered was incorrect.")
	}
	d.wallet.locked, d.wallet.until = false, d.net.now()+int64(p.int(1))
	return nil, nil
}

// follow leaves out unknown names, and everything while there is no session.
func (d *Daemon) follow(p params) (any, error) {
	names, err := p.strs(1)
	if err != nil || !d.session {
		return nil, err
	}
	for _, name := range names {
		if _, ok := d.lookup(name); ok {
			d.user(p.str(0)).following[name] = true
			d.run(name)
		}
	}
	return nil, nil
}

// unfollow leaves the torrent running until the next start.
func (d *Daemon) unfollow(p params) (any, error) {
	names, err := p.strs(1)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		delete(d.user(p.str(0)).following, name)
	}
	return nil, nil
}

func (d *Daemon) followed(name string) []string {
	if u, ok := d.data[name]; ok {
		return slices.Sorted(maps.Keys(u.following))
	}
	return nil
}

func (d *Daemon) getFollowing(p params) (any, error) {
	return stringList(d.followed(p.str(0))), nil
}

func (d *Daemon) getLastHave(p params) (any, error) {
	return d.eachTorrent(p, func(t *torrent) int { return t.last() }, -1)
}

func (d *Daemon) getNumPieces(p params) (any, error) {
	return d.eachTorrent(p, func(t *torrent) int { return len(t.pieces) }, 0)
}

// eachTorrent asks the torrents of the names in the second parameter, or else of all whom the first one follows.
func (d *Daemon) eachTorrent(p params, ask func(*torrent) int, missing int) (any, error) {
	names := d.followed(p.str(0))
	if len(p.list) == 2 {
		var err error
		if names, err = p.strs(1); err != nil {
			return nil, err
		}
	}
	result := map[string]any{}
	for _, name := range names {
		result[name] = missing
		if t, ok := d.torrents[name]; ok {
			result[name] = ask(t)
		}
	}
	return result, nil
}

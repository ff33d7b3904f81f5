package twistertest

import (
	"unicode/utf8"
)

const (
	maxPost = 2048 // bytes, as bencoded with its signature
	sigSize = 65

	// splitAt is how many characters of a public post are in msg; the rest is in msg2.
	splitAt = 140
)

// post is one piece of a torrent. It never changes once it is signed.
type post struct {
	name string
	k    int
	json map[string]any // userpost
	sig  string
	dm   *sealed
}

// sealed is what the receivers of a direct message decrypt, in clear: the simulation hides it from those without the key.
type sealed struct {
	key  string // of the user or group that can read it
	to   string // whom the sender addressed; it tells the sender himself where his copy belongs
	text string

	// Of an invitation to a group, or of its list of members.
	invite  *group
	members []string
}

// newPost makes a post of a user as his daemon stamps it: with its best height less one.
func (d *Daemon) newPost(author string, k int, msg string) *post {
	content := map[string]any{"n": author, "k": int64(k), "time": d.net.now(), "height": int64(d.height - 1)}
	if runes := []rune(msg); utf8.ValidString(msg) && len(runes) > splitAt {
		content["msg"], content["msg2"] = string(runes[:splitAt]), string(runes[splitAt:])
	} else {
		content["msg"] = msg
	}
	if msg == "" {
		content["msg2"] = ""
	}
	return &post{name: author, k: k, json: content}
}

// newDM makes a direct message. Its size is that of the real one, which pads to AES blocks.
func (d *Daemon) newDM(author string, k int, dm *sealed) *post {
	p := d.newPost(author, k, "")
	p.dm = dm
	plain := map[string]any{"msg": dm.text, "to": dm.to}
	if dm.invite != nil {
		plain["key"], plain["desc"] = dm.invite.key, dm.invite.description
	}
	if dm.members != nil {
		plain["members"] = stringList(dm.members)
	}
	size := bencodeLen(plain)
	p.json["dm"] = map[string]any{
		"body": secret((size+15)/16*16, d.net.rng.Uint64()), "key": "02" + secret(32, d.net.rng.Uint64()),
		"mac": secret(64, d.net.rng.Uint64()), "orig": int64(size),
	}
	return p
}

// size returns the bytes of the post as bencoded, in which dm's members are binary.
func (p *post) size() int {
	content := p.json
	if dm, ok := content["dm"].(map[string]any); ok {
		binary := map[string]any{"orig": dm["orig"]}
		for _, name := range []string{"body", "key", "mac"} {
			text, _ := dm[name].(string)
			binary[name] = text[:len(text)/2]
		}
		content = map[string]any{"dm": binary}
		for name, value := range p.json {
			if name == "dm" {
				continue
			}
			content[name] = value
		}
	}
	signature := string(make([]byte, sigSize))
	return bencodeLen(map[string]any{"sig_userpost": signature, "userpost": content})
}

// object is the post as the calls return it.
func (p *post) object() map[string]any {
	return map[string]any{"sig_userpost": p.sig, "userpost": p.json}
}

// flags is what getposts chooses by; the daemon's own bits.
func (p *post) flags() int64 {
	if p.dm != nil {
		return flagDM
	}
	return 0
}

const flagDM = 2

func stringList(list []string) []any {
	values := make([]any, len(list))
	for i, s := range list {
		values[i] = s
	}
	return values
}

// sign signs and submits a post, in the order of the daemon's own checks.
func (d *Daemon) sign(p *post) error {
	key, ok := d.wallet.users[p.name]
	msg, _ := p.json["msg"].(string)
	if !ok || !utf8.ValidString(msg) {
		return refuse(-32603, "error signing post with private key of user")
	}
	p.sig = "20" + secret(sigSize-1, p.name, p.k, d.net.rng.Uint64())
	if p.size() > maxPost {
		return refuse(-32602, "bad bencoded post size")
	}
	u, ok := d.lookup(p.name)
	if !ok || p.k < 0 || p.k > u.ceiling(d.height) {
		return refuse(-32602, "too much posts from user '"+p.name+"' rejecting post")
	}
	if u.height >= d.height || u.key != key {
		return refuse(-32602, "bad post signature")
	}
	return nil
}

// submit puts a signed post into its author's torrent, once it is hashed. Without a session it is lost. The same k again
// before that trips an assertion of the daemon, after it has answered.
func (d *Daemon) submit(p *post) {
	if !d.session {
		return
	}
	d.run(p.name)
	id := pieceID{p.name, p.k}
	wait := d.net.opts.Speed.Hash
	if _, ok := d.hashing[id]; ok {
		d.later(wait, d.halt)
		return
	}
	if wait <= 0 {
		d.add(p)
		return
	}
	d.hashing[id] = struct{}{}
	d.later(wait, func() {
		delete(d.hashing, id)
		d.add(p)
	})
}

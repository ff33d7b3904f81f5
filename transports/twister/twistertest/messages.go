package twistertest

import (
	"maps"
	"slices"
)

// message is one entry of a list of direct messages.
type message struct {
	time   int64
	text   string
	fromMe bool
	from   string
	k      int
}

func (m message) object(id int) fields {
	return fields{
		{"id", id}, {"time", m.time}, {"text", m.text}, {"fromMe", m.fromMe}, {"from", m.from}, {"k", m.k},
	}
}

// insert puts a message that came in a piece before those of its own second, so that their order is reversed. It compares it with
// the first of them alone, and by text: of equal texts in a row one stays, of equal texts apart both do.
func insert(list []message, m message) []message {
	at := slices.IndexFunc(list, func(have message) bool { return have.time >= m.time })
	if at < 0 {
		return append(list, m)
	}
	if list[at].time == m.time && list[at].text == m.text {
		return list
	}
	return slices.Insert(list, at, m)
}

func (d *Daemon) list(user, with string, m message) {
	u := d.user(user)
	u.messages[with] = insert(u.messages[with], m)
}

// sent lists what a local user sent, as the call does: at the end, whatever the torrent does with it.
func (d *Daemon) sent(p *post) {
	u := d.user(p.name)
	u.messages[p.dm.to] = append(u.messages[p.dm.to], p.message(true))
}

func (p *post) message(fromMe bool) message {
	at, _ := p.json["time"].(int64)
	return message{time: at, text: p.dm.text, fromMe: fromMe, from: p.name, k: p.k}
}

// deliver lists a piece that has come for those of the local users who may read it: who hold its key, and follow its author or
// are members of its group. While the wallet is locked nobody may.
func (d *Daemon) deliver(p *post, names ...string) {
	if p.dm == nil || d.isLocked() {
		return
	}
	if g := d.groupOf(p.dm.key); g != nil {
		d.deliverToGroup(g, p, names)
		return
	}
	for _, name := range names {
		if u, ok := d.lookup(name); ok && u.key == p.dm.key && u.key == d.wallet.users[name] {
			d.deliverTo(name, p)
		}
	}
}

func (d *Daemon) deliverTo(name string, p *post) {
	u, own := d.data[name], p.name == name
	switch {
	case own && p.dm.invite != nil: // the list of members that follows makes him one
	case p.dm.invite != nil:
		d.join(name, p)
	case p.dm.text == "":
	case own:
		d.list(name, p.dm.to, p.message(true)) // a copy to oneself
	case u != nil && u.following[p.name]:
		d.list(name, p.name, p.message(false))
	}
}

// rescan delivers all pieces here once more to a user.
func (d *Daemon) rescan(name string) {
	for _, author := range slices.Sorted(maps.Keys(d.torrents)) {
		pieces := d.torrents[author].pieces
		for _, k := range slices.Sorted(maps.Keys(pieces)) {
			d.deliver(pieces[k], name)
		}
	}
}

// choose returns the newest count messages of a range of positions, since exclusive and most inclusive, and the first's position.
func choose(list []message, count, since, most int64) ([]message, int) {
	high := min(int64(len(list)-1), most)
	low := max(since+1, high-count+1, 0)
	if count <= 0 || low > high {
		return nil, 0
	}
	return list[low : high+1], int(low)
}

package twistertest

import (
	"maps"
	"slices"
)

// maxUserData is the size in bytes from which on the real daemon does not read its user data at the start.
const maxUserData = 8_000_000

// messageOverhead is what an entry of a list of direct messages takes in user data beside its text.
const messageOverhead = 75

// disk is what the last save wrote.
type disk struct {
	data     map[string]*userData
	torrents map[string]*torrent
	store    dhtStore
}

// userData is what a daemon keeps of a local user: whom he follows, and his direct messages with each other user or group.
type userData struct {
	following map[string]bool
	messages  map[string][]message
}

func newUserData() *userData {
	return &userData{following: map[string]bool{}, messages: map[string][]message{}}
}

func (u *userData) clone() *userData {
	c := &userData{following: maps.Clone(u.following), messages: map[string][]message{}}
	for with, list := range u.messages {
		c.messages[with] = slices.Clone(list)
	}
	return c
}

func cloneData(data map[string]*userData) map[string]*userData {
	c := map[string]*userData{}
	for name, u := range data {
		c[name] = u.clone()
	}
	return c
}

func userDataSize(data map[string]*userData) int {
	size := 0
	for _, u := range data {
		for name := range u.following {
			size += bencodeLen(name)
		}
		for _, list := range u.messages {
			for _, m := range list {
				size += len(m.text) + messageOverhead
			}
		}
	}
	return size
}

func cloneTorrents(torrents map[string]*torrent) map[string]*torrent {
	c := map[string]*torrent{}
	for name, t := range torrents {
		c[name] = t.clone()
	}
	return c
}

// save does nothing before the user data is read, so that an early end loses nothing of it.
func (d *Daemon) save() {
	if !d.running || !d.loaded {
		return
	}
	torrents := cloneTorrents(d.disk.torrents) // of those that do not run, what was saved before
	maps.Copy(torrents, cloneTorrents(d.torrents))
	d.disk = disk{data: cloneData(d.data), torrents: torrents, store: d.store.clone()}
}

// restore reads the disk. What was done since the start, while the daemon warmed up, stays.
func (d *Daemon) restore() {
	d.store = d.disk.store.reload(d.height)
	if userDataSize(d.disk.data) > d.net.opts.UserDataLimit {
		return
	}
	for name, saved := range cloneData(d.disk.data) {
		for with, list := range d.user(name).messages {
			saved.messages[with] = append(saved.messages[with], list...)
		}
		maps.Copy(saved.following, d.user(name).following)
		d.data[name] = saved
	}
}

// UserDataSize returns the size in bytes that a save would write now.
func (d *Daemon) UserDataSize() int {
	d.net.mu.Lock()
	defer d.net.mu.Unlock()
	return userDataSize(d.data)
}

// user returns the data of a local user, made when there is none: the daemon does not ask for a key.
func (d *Daemon) user(name string) *userData {
	u, ok := d.data[name]
	if !ok {
		u = newUserData()
		d.data[name] = u
	}
	return u
}

// wanted returns the authors whose torrents a start brings up: all whom somebody here follows, and the members of groups here.
func (d *Daemon) wanted() []string {
	names := map[string]bool{}
	for _, u := range d.data {
		maps.Copy(names, u.following)
	}
	for _, g := range d.groups {
		if g.localMember(d) {
			for _, member := range g.members {
				names[member] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

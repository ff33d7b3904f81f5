package twistertest

import (
	"errors"
	"fmt"
	"time"
)

// Options says how the network behaves. The zero value is an instant, lossless one, in which every daemon is ready as soon as it
// is started and what is sent has arrived before the call returns.
type Options struct {
	// User and Password are for HTTP Basic; "user" and "pwd" if empty.
	User, Password string

	// Seed makes loss, jitter and aliases repeatable.
	Seed uint64

	// Speed is how long things take; instant if zero. See RealSpeed.
	Speed Speed

	// Loss is the share of pieces, from 0 to 1, that do not arrive at a peer at once. They arrive when the two daemons connect
	// again (Heal, Start, or after Speed.Reconnect), unless Forever is set.
	Loss    float64
	Forever bool

	// BlockEvery mines a block each so often; none but by Mine if zero.
	BlockEvery time.Duration

	// SaveEvery is how often a daemon writes its user data and torrents to disk; 15 minutes if zero, never if negative. Kill loses
	// what was not saved.
	SaveEvery time.Duration

	// UserDataLimit is the size in bytes of user data from which on a start does not read it; 8,000,000 if zero.
	UserDataLimit int

	// Promoted is the text of the post that a daemon adds to an answer once in eight hours; the real one's if empty.
	Promoted string

	// Threads is how many connections a daemon serves at a time; ten if zero.
	Threads int

	// Now is the clock of the network, which stamps posts in whole seconds; time.Now if nil.
	Now func() time.Time
}

// Speed is how long things take. Whatever is zero is instant, but for Reconnect.
type Speed struct {
	WarmUp    time.Duration // from the start of a daemon to its torrent session; an eighth of it more to its user data
	DM, Post  time.Duration // a call of newdirectmsg, of newpostmsg
	Hash      time.Duration // from a call to its piece: until then getlasthave is stale, and the same k again aborts the daemon
	Delay     time.Duration // from one daemon's piece to another's, on average
	Reconnect time.Duration // from a torrent connection that broke to the next one; a minute if zero
	DHTGet    time.Duration // a value that was found
	DHTDead   time.Duration // a value that no live node was asked for
	Login     time.Duration // the answer to a wrong password
}

// RealSpeed returns the measured figures.
func RealSpeed() Speed {
	return Speed{
		WarmUp: 10200 * time.Millisecond, DM: 6500 * time.Microsecond, Post: 11 * time.Millisecond, Hash: 4 * time.Millisecond,
		Delay: 17 * time.Millisecond, Reconnect: time.Minute, DHTGet: 103 * time.Millisecond, DHTDead: 8 * time.Second,
		Login: 250 * time.Millisecond,
	}
}

// WarmSpeed returns the measured figures of a network that runs: daemons that start, and that miss each other, are quick.
func WarmSpeed() Speed {
	s := RealSpeed()
	s.WarmUp, s.DHTDead, s.Reconnect = 100*time.Millisecond, time.Second, time.Second
	return s
}

func (o *Options) setDefaults() {
	if o.User == "" && o.Password == "" {
		o.User, o.Password = "user", "pwd"
	}
	if o.SaveEvery == 0 {
		o.SaveEvery = 15 * time.Minute
	}
	if o.UserDataLimit == 0 {
		o.UserDataLimit = maxUserData
	}
	if o.Promoted == "" {
		o.Promoted = advertText
	}
	if o.Threads == 0 {
		o.Threads = 10
	}
	if o.Speed.Reconnect == 0 {
		o.Speed.Reconnect = time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

func (o *Options) validate() error {
	switch {
	case o.Loss < 0 || o.Loss > 1:
		return fmt.Errorf("loss is %v: want 0 to 1", o.Loss)
	case o.Threads < 0:
		return fmt.Errorf("threads is %d: want 1 or more", o.Threads)
	case o.BlockEvery < 0:
		return errors.New("block every is negative")
	}
	return nil
}

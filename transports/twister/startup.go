package twister

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// startUp is how far the daemon and the user have come on the way to a session.
type startUp struct {
	said      map[string]bool // steps that are logged
	warming   bool            // the daemon was seen without a session, so that it may not have read its user data yet
	locked    bool            // the wallet was: what came meanwhile is not listed
	begun     time.Time       // when the session of the daemon was first seen
	oneBox    bool            // as the daemon's
	confirmed int             // the height at which a user was found who had been waited for; 0 if none was
	absent    int             // the height at which the user was last not there
	sent      int             // the height at which the registration was last sent, -1 if never
	strangers []string        // peers that cannot be followed
	data      error           // what is to be said of the user data
	measured  time.Time
	others    time.Time // when a post by other means was last found
}

var errOthers = errors.New("somebody else posts as this user: by hand that does no harm, but a second weft with this user holds up the messages of both: stop it, or give it a user of its own")

var errFetches = errors.New("twisterd may be fetching blocks, and with them it may know the name yet: the user is registered once none has come for a minute")

// lost is called while the daemon is away or has no session: all has to be looked at again.
func (s *startUp) lost() {
	s.said, s.warming, s.begun, s.sent = nil, true, time.Time{}, -1
}

// done is called when a session begins.
func (s *startUp) done(log *slog.Logger) {
	log.Info("twisterd is ready")
	s.said, s.warming, s.begun, s.sent, s.confirmed = nil, false, time.Time{}, -1, 0
}

// warning is what is wrong and stops nothing.
func (s *startUp) warning() error {
	data := s.data
	if !s.others.IsZero() && time.Since(s.others) < othersFor {
		data = beside(errOthers, data)
	}
	if len(s.strangers) == 0 {
		return data
	}
	return beside(fmt.Errorf("not followed, so that nothing comes from them: %s (no such user yet, or follow: check)", strings.Join(s.strangers, ", ")), data)
}

// othersFor is how long posts by other means are reported.
const othersFor = 10 * time.Minute

// step logs what is done now, once.
func (d *daemon) step(text string, args ...any) {
	if d.start.said == nil {
		d.start.said = map[string]bool{}
	}
	if !d.start.said[text] {
		d.start.said[text] = true
		d.log.Info(text, args...)
	}
}

// startUp takes the steps that are possible now. Its error says what it waits for; nil means that all are taken, and comes with the
// last k of the user that is known of, and the last that the daemon has.
func (d *daemon) startUp(ctx context.Context) (last, have int, err error) {
	if d.start.begun.IsZero() {
		d.start.begun = time.Now()
	}
	d.step("checking user", slog.String("user", d.config.User), slog.Int("height", d.height()))
	if err := d.checkUser(ctx); err != nil {
		return -1, -1, err
	}
	if err := d.rescan(ctx); err != nil {
		return -1, -1, err
	}
	d.step("checking whom the user follows", slog.String("want", strings.Join(d.wanted(), ", ")))
	if err := d.follow(ctx); err != nil {
		return -1, -1, err
	}
	last, have, err = d.learnK(ctx)
	if err != nil {
		return -1, -1, err
	}
	d.watchData(ctx)
	return last, have, d.lookForPeers(ctx)
}

// rescan lists what came while the wallet was locked.
func (d *daemon) rescan(ctx context.Context) error {
	if !d.start.locked {
		return nil
	}
	d.step("looking for messages that came while the wallet was locked")
	if err := d.client.RescanDirectMessages(ctx, d.config.User); err != nil {
		return err
	}
	d.start.locked = false
	return nil
}

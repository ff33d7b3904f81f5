package feedlog_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/weft-relay/weft/transports/kademlia/feedlog"
)

func Example() {
	dir, err := os.MkdirTemp("", "feed")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	feed, err := feedlog.Open(dir, feedlog.Limits{Bytes: 64 << 20, Age: 72 * time.Hour}, slog.Default())
	if err != nil {
		panic(err)
	}
	defer feed.Close()

	first, err := feed.Append([]byte("door 1 opened"), []byte("door 1 closed"))
	if err != nil {
		panic(err)
	}
	for number := first; ; {
		changed := feed.Changed() // before Read, so that no record falls between the two
		record, err := feed.Read(number)
		switch {
		case errors.Is(err, feedlog.ErrGone):
			number = feed.First() // this follower is too late for some
			continue
		case errors.Is(err, feedlog.ErrNotYet):
			fmt.Println("waiting for", feed.Next())
			select {
			case <-changed:
			default: // an example does not wait
				return
			}
			continue
		case err != nil:
			panic(err)
		}
		fmt.Println(number, string(record))
		number++
	}
	// Output:
	// 1 door 1 opened
	// 2 door 1 closed
	// waiting for 3
}

package mqtt

import "testing"

// Nearly all identifiers wait for a client that publishes. Is a free one found without a look at all of them for each packet?
func TestFreeIdentifierIsFoundInACrowd(t *testing.T) {
	ids := newIdentifiers()
	looks := 0
	taken := func(id uint16) bool { looks++; return id <= maxSession }
	ids.sends(maxSession)
	const packets = 1000
	for i := range uint16(packets) {
		in, ok := ids.enter(i+1, taken)
		if !ok || in <= maxSession {
			t.Fatalf("packet %d: identifier %d, %v", i, in, ok)
		}
	}
	if most := 2*(1<<16) + 100*packets; looks > most {
		t.Errorf("%d looks for %d packets; want at most %d", looks, packets, most)
	}
	ids = newIdentifiers()
	waits := uint16(2*far + 1) // just where it looks first
	if in, _ := ids.enter(1, func(id uint16) bool { return id == waits }); in == waits {
		t.Errorf("identifier %d of a message that waits", in)
	}
	if in, ok := ids.enter(60_001, func(uint16) bool { return true }); ok {
		t.Errorf("identifier %d of a full table", in)
	}
}

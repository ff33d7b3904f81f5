//go:build linux

package main

import (
	"bufio"
	"bytes"
	"testing"
)

// Whatever a broker sends, the client ends with an error and answers with whole acknowledgements only.
func FuzzClientReadsAnything(f *testing.F) {
	for _, stream := range []string{
		"\x30\x05\x00\x01a{}", "\x32\x07\x00\x01a\x00\x07{}", "\x34\x07\x00\x01a\x00\x07{}", "\x40\x02\x00\x07", "\x50\x02\x00\x07",
		"\x62\x02\x00\x07", "\x70\x02\x00\x07", "\x30\x00", "\x32\x02\x00\x00", "\x30\xff\xff\xff\x7f", "\x50\x01\x00",
		"\x30\x30\x00\x00" + `{"seq":         7,"ns":            9,"v":[21.37]}`,
	} {
		f.Add([]byte(stream))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		var answers bytes.Buffer
		c := &client{r: bufio.NewReader(bytes.NewReader(stream)), w: bufio.NewWriter(&answers)}
		err := c.serve(handler{
			idle:  func() {},
			acked: func() {},
			message: func(payload []byte) {
				if seq, sent, ok := parsePayload(payload); ok && (seq < 0 || sent < 0) {
					t.Errorf("payload %q gave message %d at %d", payload, seq, sent)
				}
			},
		})
		if err == nil {
			t.Error("the stream ended without an error")
		}
		if err := c.flush(); err != nil || answers.Len()%4 != 0 {
			t.Errorf("answers % x: %v", answers.Bytes(), err)
		}
	})
}

package mqtt

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// patientPair is both ends of a TCP connection, one of them read with patience.
func patientPair(t *testing.T) (near net.Conn, far net.Conn, p *patience) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if far, err = net.Dial("tcp", listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if near, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far, newPatience(near)
}

// Four thousand small packets come one by one, then one more and nothing behind it. Are they read in far fewer reads, and is
// the last one, and each one of a quiet time after that, read although no company comes?
func TestBusyConnectionIsReadInFewReadsAndNothingIsHeldBack(t *testing.T) {
	near, far, p := patientPair(t)
	const packets, size = 4000, 64
	go func() {
		packet := make([]byte, size)
		for range packets + 1 {
			if _, err := far.Write(packet); err != nil {
				return
			}
			for began := time.Now(); time.Since(began) < 50*time.Microsecond; {
			}
		}
	}()
	buf, reads := make([]byte, 64<<10), 0
	near.SetDeadline(time.Now().Add(20 * time.Second))
	for got := 0; got < (packets+1)*size; reads++ {
		n, err := p.read(near, buf, 0)
		if err != nil {
			t.Fatalf("after %d bytes: %v", got, err)
		}
		got += n
	}
	if reads > packets/4 {
		t.Errorf("%d reads for %d packets", reads, packets)
	}
	for range 20 {
		go far.Write([]byte{1})
		if n, err := p.read(near, buf, 0); n != 1 || err != nil {
			t.Fatalf("read %d bytes, %v", n, err)
		}
	}
}

// More answers are expected than ever come. Is what comes read all the same, and the end of the connection seen?
func TestAnswersThatNeverComeHoldNothingBack(t *testing.T) {
	near, far, p := patientPair(t)
	buf := make([]byte, 1024)
	for range 10 {
		if _, err := far.Write(make([]byte, ackLen)); err != nil {
			t.Fatal(err)
		}
		if n, err := p.read(near, buf, maxAnswers*ackLen); n != ackLen || err != nil {
			t.Fatalf("read %d bytes, %v", n, err)
		}
	}
	far.Close()
	if _, err := p.read(near, buf, maxAnswers*ackLen); !errors.Is(err, io.EOF) {
		t.Errorf("error %v, want EOF", err)
	}
}

package relay

import (
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo serves one connection after another, sending back what it reads.
func echo(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	return listener.Addr().String()
}

func start(t *testing.T) *Relay {
	upstream := echo(t)
	r, err := Listen(t.Context(), upstream)
	require.NoError(t, err)
	t.Cleanup(r.Close)
	return r
}

func dial(t *testing.T, r *Relay) net.Conn {
	c, err := net.Dial("tcp", r.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func say(t *testing.T, c net.Conn, word string) {
	_, err := c.Write([]byte(word))
	require.NoError(t, err)
}

func hear(t *testing.T, c net.Conn, word string) {
	got := make([]byte, len(word))
	_, err := io.ReadFull(c, got)
	require.NoError(t, err)
	require.Equal(t, word, string(got))
}

func TestForwards(t *testing.T) {
	c := dial(t, start(t))
	say(t, c, "hello")
	hear(t, c, "hello")
}

func TestRefused(t *testing.T) {
	r := start(t)
	c := dial(t, r)
	say(t, c, "hello")
	hear(t, c, "hello")
	r.Set(Refused)
	_, err := c.Read(make([]byte, 1))
	require.Error(t, err, "the open connection ends")
	late := dial(t, r)
	_, err = late.Read(make([]byte, 1))
	require.Error(t, err, "a new one ends too")
	r.Set(Open)
	c = dial(t, r)
	say(t, c, "again")
	hear(t, c, "again")
}

// A silent wire delivers nothing, and everything once it is open again.
func TestSilent(t *testing.T) {
	r := start(t)
	c := dial(t, r)
	say(t, c, "one")
	hear(t, c, "one")
	r.Set(Silent)
	say(t, c, "two")
	require.NoError(t, c.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, c.SetReadDeadline(time.Time{}))
	r.Set(Open)
	hear(t, c, "two")
}

func TestCloseWhileSilent(t *testing.T) {
	r := start(t)
	c := dial(t, r)
	r.Set(Silent)
	say(t, c, "lost")
	r.Close()
	_, err := c.Read(make([]byte, 1))
	require.Error(t, err)
}

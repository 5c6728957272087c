package port

import (
	"net"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func listen(number int) (net.Listener, error) {
	return net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(number)))
}

// A held port can be listened on by the engine, and had by nobody else's
// allocator.
func TestHeldPort(t *testing.T) {
	one, other := New(), New()
	p, err := one.Take()
	require.NoError(t, err)
	defer p.Release()
	_, err = hold(p.Number)
	require.ErrorIs(t, err, unix.EADDRINUSE, "another worker could hold the port too")

	l, err := listen(p.Number)
	require.NoError(t, err, "the engine cannot listen on its port")
	defer l.Close()
	q, err := other.Take()
	require.NoError(t, err)
	defer q.Release()
	require.NotEqual(t, p.Number, q.Number)
}

// A port that somebody listens on is passed over; a released one comes again,
// but not before the others.
func TestPortsTakeTurns(t *testing.T) {
	first := free(t)
	a := newRange(first, first+2)
	l, err := listen(first + 1)
	require.NoError(t, err)
	defer l.Close()
	p, err := a.Take()
	require.NoError(t, err)
	require.Equal(t, first, p.Number)
	q, err := a.Take()
	require.NoError(t, err)
	require.Equal(t, first+2, q.Number)
	_, err = a.Take()
	require.ErrorIs(t, err, ErrNone)
	p.Release()
	p.Release()
	again, err := a.Take()
	require.NoError(t, err)
	require.Equal(t, first, again.Number)
	again.Release()
	q.Release()
}

// free finds three ports in a row that nobody has.
func free(t *testing.T) int {
	t.Helper()
	for first := Last - 2; first > First; first -= 3 {
		taken := false
		for number := first; number < first+3; number++ {
			socket, err := hold(number)
			if taken = taken || err != nil; err == nil {
				require.NoError(t, unix.Close(socket))
			}
		}
		if !taken {
			return first
		}
	}
	t.Fatal("no three free ports in a row")
	return 0
}

func TestRangeKeepsClearOfOthers(t *testing.T) {
	require.Greater(t, First, 8100)
	require.Less(t, Last, 30000)
}

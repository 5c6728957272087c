package api_test

import (
	"testing"

	"github.com/fleetune/fleetune/manager/api/apitest"
	"github.com/fleetune/fleetune/manager/client"
	"github.com/fleetune/fleetune/manager/postgres/pgtest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { pgtest.Main(m, goleak.IgnoreCurrent()) }

// dial returns a client of a stand that ends with the test.
func dial(t testing.TB, s *apitest.Stand, token string) *client.Client {
	t.Helper()
	c, err := client.New(s.URL, token)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

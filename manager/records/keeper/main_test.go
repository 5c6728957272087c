package keeper_test

import (
	"testing"

	"github.com/fleetune/fleetune/manager/postgres/pgtest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { pgtest.Main(m, goleak.IgnoreCurrent()) }

//go:build unix

package postgres

import (
	"context"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// ownerVariable makes the test binary an owner to be killed: it runs a server
// in the folder named, says its process number, and waits.
const ownerVariable = "FLEETUNE_TEST_OWNER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(ownerVariable); dir != "" {
		s, err := Start(context.Background(), Options{Dir: dir, Volatile: true})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(s.process.cmd.Process.Pid)
		select {}
	}
	goleak.VerifyTestMain(m)
}

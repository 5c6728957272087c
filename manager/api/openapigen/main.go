// Command openapigen writes the API's description to openapi.json; run it by
// `go generate ./api` in the manager's folder.
package main

import (
	"fmt"
	"os"

	"github.com/fleetune/fleetune/manager/api"
)

func main() {
	data, err := api.Describe()
	if err == nil {
		err = os.WriteFile("openapi.json", data, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "openapigen:", err)
		os.Exit(1)
	}
}

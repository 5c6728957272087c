// The program engine is the test engine, for an image of its own.
package main

import "github.com/fleetune/fleetune/worker/serving/testengine"

func main() { testengine.Main() }

//go:build !amd64

package vecdb

func scanKernel() func(*scanArgs) { return scanPortable }

func dotKernel(int) func(*dotArgs) { return dotPortableRows }

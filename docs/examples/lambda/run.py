#!/usr/bin/env python3
import json, sys, lambda_function
print(json.dumps(lambda_function.handler(json.load(sys.stdin), None)))

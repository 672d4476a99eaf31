"""A processor that does nothing, under amazon_kclpy 3.2.0."""
from amazon_kclpy import kcl
from amazon_kclpy.v3 import processor


class Nothing(processor.RecordProcessorBase):
    def initialize(self, initialize_input):
        pass

    def process_records(self, process_records_input):
        pass

    def lease_lost(self, lease_lost_input):
        pass

    def shard_ended(self, shard_ended_input):
        pass

    def shutdown_requested(self, shutdown_requested_input):
        pass


kcl.KCLProcess(Nothing()).run()

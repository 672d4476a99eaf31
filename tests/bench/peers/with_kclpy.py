"""A processor that does nothing, under kclpy 0.2.0: what its README starts from, with an empty method."""
from kclpy import kcl


class Nothing(kcl.RecordProcessor):
    def process_record(self, data, partition_key, sequence_number):
        pass


kcl.KCLProcess(Nothing()).run()
